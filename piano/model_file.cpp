#include "piano/model_file.h"

#include <cstring>
#include <iterator>
#include <list>

#include "engine/core/device.h"
#include "piano/models.h"
#include "piano/table_guard.h"

namespace piano {
namespace {

std::vector<std::int64_t> sizes(const Shape& shape) {
  std::vector<std::int64_t> dims;
  for (int i = 0; i < shape.rank(); ++i) dims.push_back(shape[i]);
  return dims;
}

std::string text_of(const std::vector<std::int64_t>& dims) {
  std::string text = "(";
  for (std::size_t i = 0; i < dims.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(dims[i]);
  return text + ")";
}

// The checksum of all but the embedding tables' values: what is compared at start when tables are checked as they are read.
constexpr const char* kStartChecksum = "checksum.start";

std::string start_checksum(std::map<std::string, std::string> metadata, std::span<const TensorInfo> tensors, const ParameterStore& parameters) {
  metadata.erase(kStartChecksum);
  std::vector<TensorInfo> small;
  std::copy_if(tensors.begin(), tensors.end(), std::back_inserter(small), [&](const TensorInfo& t) {
    const auto is_table = [&](const Parameter& p) { return p.is_table && t.name == "param." + p.name; };
    return std::none_of(parameters.parameters().begin(), parameters.parameters().end(), is_table);
  });
  return content_checksum(metadata, small);
}

}  // namespace

data::BuilderLimits builder_limits(const Config& config) {
  return {static_cast<std::int32_t>(config.model.max_history), static_cast<std::int32_t>(config.model.max_terms), config.model.match,
          config.model.cosine};
}

data::BuilderLimits Model::Impl::limits() const { return builder_limits(config); }

void save_parameters(SafetensorsWriter& writer, const ParameterStore& parameters) {
  for (const Parameter& p : parameters.parameters()) {
    const std::size_t bytes = static_cast<std::size_t>(p.shape.elements()) * size_of(parameters.dtype());
    writer.add("param." + p.name, parameters.dtype(), sizes(p.shape), {static_cast<const std::byte*>(parameters.value(p)), bytes});
  }
}

static const TensorInfo& checked(const SafetensorsFile& file, const ParameterStore& parameters, const Parameter& p) {
  const TensorInfo& t = file.at("param." + p.name);
  if (t.dtype != parameters.dtype() || t.shape != sizes(p.shape)) {
    throw Error(ErrorCode::model, file.path() + ": param." + p.name + ": expected " + text_of(sizes(p.shape)) + " of 32-bit floats, got " +
                                      text_of(t.shape) + "; the file was made by another version or is damaged");
  }
  return t;
}

void load_parameters(const SafetensorsFile& file, ParameterStore& parameters) {
  for (const Parameter& p : parameters.parameters()) {
    const TensorInfo& t = checked(file, parameters, p);
    std::memcpy(parameters.value(p), t.bytes.data(), t.bytes.size());
  }
}

void map_parameters(const SafetensorsFile& file, ParameterStore& parameters) {
  for (const Parameter& p : parameters.parameters()) {
    if (p.is_table) parameters.borrow_table(p.table, checked(file, parameters, p).bytes.data());
  }
  parameters.allocate();
  for (const Parameter& p : parameters.parameters()) {
    if (p.is_table) continue;
    const TensorInfo& t = checked(file, parameters, p);
    std::memcpy(parameters.value(p), t.bytes.data(), t.bytes.size());
  }
}

void save_model(const std::string& path, const Config& config, const data::FeatureSpace& features, const ParameterStore& parameters,
                const Calibration& calibration) {
  SafetensorsWriter writer(path);
  const int version = features.version() > 1 ? features.version() + 1 : calibration.fitted() ? 2 : 1;
  write_format(writer, kModelFormat, version, version);
  writer.metadata("config", to_toml(config, true));
  features.save(writer);
  save_parameters(writer, parameters);
  if (calibration.fitted()) {
    calibration.click.save(writer, "calibration.click");
    for (std::size_t k = 0; k < calibration.conversion.size(); ++k) calibration.conversion[k].save(writer, name_of_kind("calibration.conversion", k));
  }
  std::list<std::vector<std::int64_t>> sums;  // must live until commit()
  for (const Parameter& p : parameters.parameters()) {
    if (p.is_table) writer.add("rows." + p.name, std::span<const std::int64_t>(sums.emplace_back(block_checksums(parameters, p))));
  }
  writer.metadata(kStartChecksum, start_checksum(writer.metadata(), writer.tensors(), parameters));
  writer.commit();
}

std::shared_ptr<const Model> Model::load(const std::string& path, Check check) {
  auto impl = std::make_unique<Impl>();
  impl->file = std::make_shared<const SafetensorsFile>(path);
  const SafetensorsFile& file = *impl->file;
  check_format(file, kModelFormat, kModelVersion);
  const auto text = [&](const char* key) {
    const auto found = file.metadata().find(key);
    if (found == file.metadata().end()) throw Error(ErrorCode::model, path + ": no metadata '" + key + "'; the file is damaged");
    return found->second;
  };
  // A damaged model would give wrong scores in silence. Files from before there were blocks are compared as a whole.
  impl->tables_unchecked = check == Check::as_read && file.metadata().contains(kStartChecksum);
  if (!impl->tables_unchecked) file.verify();
  impl->features = data::FeatureSpace::load(impl->file);
  try {
    parse_toml(text("config"), path + ": config", impl->config);
    piano::check(impl->config);
    impl->network = make_network(impl->config, impl->features, impl->parameters);
  } catch (const Error& e) {
    const std::string what = e.what();
    throw Error(ErrorCode::model, what.starts_with(path) ? what : path + ": config: " + what);
  }
  impl->name = std::string(traits(impl->config).key) + "-" + text("checksum").substr(0, 8);
  if (impl->tables_unchecked && start_checksum(file.metadata(), file.tensors(), impl->parameters) != text(kStartChecksum)) {
    throw Error(ErrorCode::model, path + ": checksum differs: the file is damaged");
  }
  map_parameters(file, impl->parameters);
  impl->calibration.conversion.resize(impl->features.schema.kinds());
  if (file.find("calibration.click.temperature") != nullptr) {
    impl->calibration.click = HeadCalibration::load(file, "calibration.click");
    for (std::size_t k = 0; k < impl->calibration.conversion.size(); ++k) {
      impl->calibration.conversion[k] = HeadCalibration::load(file, name_of_kind("calibration.conversion", k));
    }
  }
  impl->packed.pack(impl->parameters, cpu_device());
  return std::shared_ptr<const Model>(new Model(std::move(impl)));
}

Model::Model(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;
const std::string& Model::name() const { return impl_->name; }
const std::vector<std::string>& Model::conversions() const { return impl_->features.schema.conversions; }

}  // namespace piano
