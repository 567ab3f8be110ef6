// What this machine can do at most, measured: without it a number of GFLOP/s says nothing.
#pragma once

#include <memory>
#include <string>

namespace piano::tools {

struct MachinePeaks {
  std::string level;      // of the fused multiply-adds: the kernel level in use
  double fma_gflops = 0;  // registers only
  double dram_gb_s = 0;   // reading an array of at least four times the last-level cache
  double l2_gb_s = 0;     // reading half a level-2 cache again and again
};

// All `threads` at once; about a tenth of a second, and 4 times the last-level cache of memory meanwhile.
MachinePeaks measure_machine(int threads);

double fma_gflops(int threads);      // the first of these alone, 20 ms
std::string cpu_name();              // of the first CPU, or "unknown CPU"

}  // namespace piano::tools
