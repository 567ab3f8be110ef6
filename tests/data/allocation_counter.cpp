// Links the counter into this folder's test program.
#include "tests/support/allocation_counter.cpp"
