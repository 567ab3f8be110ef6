#include "data/batch.h"

#include <algorithm>
#include <bit>

namespace piano::data {

namespace {

void clear_bag(BagColumn& bag) {
  bag.offsets.assign(1, 0);
  bag.ids.clear();
}
void clear_query(QueryColumns& query) {
  query.id.clear();
  clear_bag(query.terms);
}
void clear_item(ItemColumns& item) {
  item.id.clear();
  for (BagColumn& field : item.fields) clear_bag(field);
}

}  // namespace

void Batch::clear() {
  lists = 0;
  request.clear();
  user.clear();
  for (BagColumn& field : user_fields) clear_bag(field);
  for (BagColumn& field : context_fields) clear_bag(field);
  user_dense.clear();
  clear_query(query);

  history_offsets.assign(1, 0);
  clear_query(history_query);
  clear_item(history_item);
  history_action.clear();
  history_age.clear();
  history_vector_of.clear();
  history_vector.clear();
  history_match.offsets.assign(1, 0);
  for (std::vector<std::int32_t>* column : {&history_match.candidate, &history_match.event, &history_match.column}) column->clear();

  offsets.assign(1, 0);
  clear_item(item);
  for (std::vector<float>* column : {&dense, &vector, &match, &score, &click, &conversion, &labelled, &value, &recency}) column->clear();
  rank.clear();
  position.clear();
}

std::int32_t age_bucket(std::int64_t seconds) {
  if (seconds < 60) return 1;
  return std::min<std::int32_t>(kAgeBuckets - 1, 1 + static_cast<std::int32_t>(std::bit_width(static_cast<std::uint64_t>(seconds / 60))));
}

}  // namespace piano::data
