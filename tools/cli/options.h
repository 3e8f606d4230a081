// Flags that several commands share, and how their values become parts of requests. Times, kinds and the like are
// parsed by the words of the library, so that an error names the flag and what it takes.
#pragma once

#include <annal/engine.h>

#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace annal::cli {

// What a write says about itself.
struct WriteFlags {
    std::string actor, source, reason, correlation_id, causation_id, idempotency_key;
    void add_to(CLI::App& command);
    Result<WriteContext> context() const;
};

// Names the memory a write is about.
struct TargetFlags {
    std::string id, expected_version;
    WriteFlags write;
    void add_to(CLI::App& command);
    Result<Target> target(const Scope& scope) const;
};

// What a memory says beside its content. Unset: as the command has it.
struct MemoryFlags {
    std::vector<std::string> tags, fields;
    std::optional<std::string> metadata, occurred_at, valid_from, valid_to, expires_at, vector_file;
    void add_to(CLI::App& command);
};

struct FilterFlags {
    std::vector<std::string> kinds, tags, claims, where;
    std::optional<double> confidence_min;
    std::string since, until, recorded_since, recorded_until, valid_at;
    void add_to(CLI::App& command);
    Result<Filter> filter() const;
};

// A flag that may be given more than once, one value each time.
CLI::Option* add_list(CLI::App& command, const std::string& names, std::vector<std::string>& values,
                      const std::string& help);

// "--as-of" and the like: a seq, or an RFC 3339 time.
Result<AsOf> moment_of(const std::string& flag, const std::string& text);
Result<std::optional<Timestamp>> time_of(const std::string& flag, const std::optional<std::string>& text);
Result<Kind> kind_of_name(const std::string& name);
Result<Claim> claim_of_name(const std::string& name);
Result<Embedding> read_vector_file(const std::string& path);
// "NAME=VALUE" each, set in order.
Status set_fields(KindFields& fields, const std::vector<std::string>& assignments);

}  // namespace annal::cli
