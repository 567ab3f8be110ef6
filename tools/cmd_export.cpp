// piano export: candidates as SVMLight lines, for other learners.
#include "piano/svmlight.h"
#include "tools/command_line.h"
#include "tools/output.h"

namespace piano::tools {

void export_svmlight(const Arguments& arguments) {
  CommandLine line("export", "--data FILE --out FILE [flags]", "writes the numbers that the model is given of each candidate as SVMLight");
  line.value("data", "FILE", "", "packed data set, from piano prepare")
      .value("out", "FILE", "", "the text: label, qid, column:value .., and a comment with request, item, labelled, target")
      .value("split", "PART", "train", "train | valid | test | all")
      .example("piano export --data data.safetensors --split train --out train.svm");
  if (!line.parse(arguments)) return;
  line.no_files();
  const std::size_t part = line.choice("split", kParts);
  const std::string out = line.required("out"), data_path = line.required("data");
  require_distinct({{"--out", out}}, {{"--data", data_path}});
  const data::Dataset dataset = dataset_of(line);
  const std::vector<std::int64_t> requests = requests_of(dataset, part);
  write_svmlight(out, dataset, requests);
  print(out + ": " + counted(static_cast<std::int64_t>(requests.size()), "request") + "\n");
}

}  // namespace piano::tools
