#!/bin/bash
# Runs one .clitest file: command lines with what they must print. tests/README.md has the format.
#   tests/cli/run.sh FOLDER_OF_PIANO FILE.clitest
set -u
bin=$(cd "$1" && pwd)
file=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
export PATH="$bin:$PATH" CLITEST_DIR
CLITEST_DIR=$(dirname "$file")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1

passed=0 failed=0
command="" line_of_command=0 status_expected=0
stdout_expected=() stderr_expected=()

# Do the actual lines from $1 on match the expected ones from $2 on? "..." stands for any number of lines, "~ ERE" for one line.
matches() {
  local a=$1 e=$2
  while [ "$e" -lt "${#stdout_expected[@]}" ]; do
    local want=${stdout_expected[e]}
    if [ "$want" = "..." ]; then
      for (( ; a <= ${#stdout_actual[@]}; a++ )); do matches "$a" $((e + 1)) && return 0; done
      return 1
    fi
    [ "$a" -lt "${#stdout_actual[@]}" ] || return 1
    case $want in
      "~ "*) [[ ${stdout_actual[a]} =~ ${want#"~ "} ]] || return 1 ;;
      "=") [ -z "${stdout_actual[a]}" ] || return 1 ;;
      "= "*) [ "${stdout_actual[a]}" = "${want#"= "}" ] || return 1 ;;
      *) [ "${stdout_actual[a]}" = "$want" ] || return 1 ;;
    esac
    a=$((a + 1)) e=$((e + 1))
  done
  [ "$a" -eq "${#stdout_actual[@]}" ]
}

check() {  # runs the command collected so far and compares
  [ -n "$command" ] || return 0
  bash -o pipefail -c "$command" >"$folder/.stdout" 2>"$folder/.stderr" </dev/null
  local status=$? wrong=()
  mapfile -t stdout_actual <"$folder/.stdout"
  [ "$status" -eq "$status_expected" ] || wrong+=("exit code $status, expected $status_expected")
  matches 0 0 || wrong+=("standard output differs from what is expected")
  for want in ${stderr_expected[@]+"${stderr_expected[@]}"}; do
    grep -Eq -- "$want" "$folder/.stderr" || wrong+=("no line on standard error matches: $want")
  done
  if [ ${#wrong[@]} -eq 0 ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "$file:$line_of_command: FAILED: $command"
    printf '  %s\n' "${wrong[@]}"
    echo "  standard output was:"; head -n 40 "$folder/.stdout" | sed 's/^/    /'
    echo "  standard error was:"; head -n 40 "$folder/.stderr" | sed 's/^/    /'
  fi
  command="" status_expected=0 stdout_expected=() stderr_expected=()
}

number=0
while IFS= read -r line || [ -n "$line" ]; do
  number=$((number + 1))
  case $line in
    "#"*) ;;
    "") check ;;  # a blank line ends an expectation; "=" is an expected blank line
    '$ '*) check; command=${line#'$ '} line_of_command=$number ;;
    '> '*) command+=$'\n'${line#'> '} ;;
    '! '*) status_expected=${line#'! '} ;;
    '2> '*) stderr_expected+=("${line#'2> '}") ;;
    *) stdout_expected+=("$line") ;;
  esac
done <"$file"
check
echo "$(basename "$file"): $passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
