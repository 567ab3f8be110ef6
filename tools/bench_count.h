// Small fixed cases for a program that counts instructions: what a noisy machine cannot hide.
#pragma once

#include <string>
#include <vector>

namespace piano::tools {

std::vector<std::string> counted_cases();

// Runs one case on one thread, once. Only what is within counted_region() is meant to be counted: tools/bench/check.sh has callgrind collect there.
void run_counted(const std::string& name);

}  // namespace piano::tools
