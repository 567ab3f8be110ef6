// attention: softmax(q k^T / sqrt(d / heads)) v over ragged lists, every list and head on its own. The specification is engine/ref/attention.h.
#pragma once

#include "engine/cpu/attention_backward.inl"
#include "engine/cpu/attention_forward.inl"
