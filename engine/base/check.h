// Programmer errors: PIANO_CHECK is always on and throws ErrorCode::internal; PIANO_ASSERT is for hot loops and vanishes in release builds.
#pragma once

#include <string>

#include "engine/base/error.h"

#define PIANO_CHECK(condition, message)                                                              \
  do {                                                                                               \
    if (!(condition)) throw ::piano::Error(::piano::ErrorCode::internal, std::string(message));      \
  } while (false)

#ifdef NDEBUG
#define PIANO_ASSERT(condition, message) static_cast<void>(0)
#else
#define PIANO_ASSERT(condition, message) PIANO_CHECK(condition, message)
#endif
