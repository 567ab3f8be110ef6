#include "tools/signals.h"

#include <csignal>

#include "engine/base/files.h"

namespace piano::tools {
namespace {

std::atomic<bool> stop_asked{false};
static_assert(std::atomic<bool>::is_always_lock_free, "set in a signal handler");

struct sigaction interrupt_before {}, terminate_before {}, hang_up_before {};  // while a StopOnSignal lives

void end(int signal) {
  remove_temporary_files();
  std::signal(signal, SIG_DFL);
  std::raise(signal);  // delivered when the handler returns: whoever waits for us sees what ended us
}

void ask_to_stop(int signal) {
  if (stop_asked.exchange(true)) end(signal);
}

void install(int signal, void (*handler)(int), struct sigaction* before) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigaction(signal, &action, before);
}

}  // namespace

void clean_up_on_signals() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN) install(signal, end, nullptr);
  }
}

StopOnSignal::StopOnSignal() {
  stop_asked = false;
  install(SIGINT, ask_to_stop, &interrupt_before);
  install(SIGTERM, ask_to_stop, &terminate_before);
  install(SIGHUP, ask_to_stop, &hang_up_before);
  if (hang_up_before.sa_handler == SIG_IGN) sigaction(SIGHUP, &hang_up_before, nullptr);  // nohup
}

StopOnSignal::~StopOnSignal() {
  sigaction(SIGINT, &interrupt_before, nullptr);
  sigaction(SIGTERM, &terminate_before, nullptr);
  sigaction(SIGHUP, &hang_up_before, nullptr);
}

const std::atomic<bool>& StopOnSignal::asked() const { return stop_asked; }

}  // namespace piano::tools
