// What tests of the PostgreSQL sink share: records that are hard on it, a server, and what is held against its tables.
#pragma once

#include "../sink_conformance.h"
#include "adapters/outbound/postgres_connection.h"
#include "adapters/outbound/postgres_sink.h"
#include "support/cutting_proxy.h"
#include "support/postgres_server.h"

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace annal::testing {

using Key = std::pair<std::string, MemoryId>;

// Live memories with every part present or absent, and text that is hard on SQL.
class RandomRecords {
 public:
    explicit RandomRecords(std::uint64_t seed) : random_(seed) {}

    std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
    bool chance(std::uint64_t one_in = 2) { return below(one_in) == 0; }
    double fraction() { return static_cast<double>(random_() >> 11) * 0x1p-53; }

    std::string text(std::size_t pieces = 12) {
        static const std::vector<std::string> hard{"tea", " ",    "'",  "\"", "\\",   "{a,b}",    "NULL",
                                                   "$1",  "\n",   "\t", "%s", "\x01", "\xc3\xa9", "\xf0\x9f\x8d\xb5",
                                                   ";--", "rain "};
        std::string text;
        for (auto count = below(pieces); count > 0; --count) text += hard[below(hard.size())];
        return text;
    }
    Timestamp time() { return {static_cast<std::int64_t>(below(253'402'300'800'000'000))}; }
    std::optional<Timestamp> maybe_time() { return chance() ? std::optional(time()) : std::nullopt; }
    MemoryId id() {
        MemoryId id;
        for (auto& byte : id.bytes) byte = static_cast<std::uint8_t>(random_());
        return id;
    }
    KindFields fields(Kind kind) {
        auto fields = empty_fields(kind);
        std::visit([&](auto& typed) { visit_fields(typed, [&](const char*, auto& value) { fill(value); }); }, fields);
        return fields;
    }
    std::string metadata() {
        switch (below(4)) {
            case 0:
                return "null";
            case 1:
                return R"({"b":1.10,"a":[true,null,-0.0,1e300,5e-324,18446744073709551615],"z":{"k":"'\"\\é"}})";
            case 2:
                return Json(text()).dump();
            default:
                return "[" + Json(fraction()).dump() + "]";
        }
    }
    SinkRecord record(Kind kind, Seq seq) {
        SinkRecord record;
        auto& memory = record.memory;
        memory.id = id();
        memory.version = {1 + below(9)};
        memory.seq = memory.created_seq = seq;
        memory.scope = {projects[below(projects.size())], chance() ? "agent" : "", chance() ? "ann" : "", text(2)};
        memory.fields = fields(kind);
        memory.content = text(30);
        for (auto count = below(4); count > 0; --count) memory.tags.push_back(text(3));
        memory.metadata = metadata();
        memory.claim = static_cast<Claim>(below(claim_names.size()));
        memory.confidence = fraction();
        memory.occurrence_count = random_() >> 1;
        memory.success_count = below(5);
        memory.actor = text(2);
        memory.source = {static_cast<SourceType>(below(source_type_names.size())), text(3)};
        memory.recorded_at = time();
        memory.updated_at = time();
        memory.occurred_at = time();
        memory.valid_from = maybe_time();
        memory.valid_to = maybe_time();
        memory.expires_at = maybe_time();
        memory.verified_at = maybe_time();
        if (chance()) memory.superseded_by = id();
        if (chance()) {
            record.embedding = Embedding{chance() ? "m'1" : "m\\2", std::vector<float>(chance() ? 3 : 8)};
            for (auto& value : record.embedding->values)
                value = std::ldexp(static_cast<float>(fraction()) - 0.5F, -static_cast<int>(below(130)));
            record.embedding->values[0] = -0.0F;
            memory.embedding_model = record.embedding->model;
            memory.embedding_dimension = static_cast<std::uint32_t>(record.embedding->values.size());
        }
        return record;
    }

 private:
    void fill(std::string& value) { value = text(); }
    void fill(bool& value) { value = chance(); }
    void fill(double& value) { value = fraction(); }
    void fill(std::optional<std::int64_t>& value) {
        if (chance()) value = static_cast<std::int64_t>(random_());
    }
    static inline const std::vector<std::string> projects{"B", "a", "a b", "a-b", "ab", "shop"};
    std::mt19937_64 random_;
};

inline const std::string& store = sink_store_id;

inline SinkPosition at(std::uint64_t seq) {
    return position_at(seq);
}
inline SinkBatch batch(std::uint64_t from, std::uint64_t to) {
    return batch_between(from, to);
}

struct Server {
    explicit Server(PostgresServer::Sync sync = PostgresServer::Sync::off) : server(postgres_server_or_skip(sync)) {}
    PostgresOptions options(const std::string& schema = "annal") const {
        PostgresOptions options;
        options.connection = server->connection();
        options.schema = schema;
        return options;
    }
    // One value, or a statement without.
    std::string sql(const std::string& statement) const {
        auto connection = PostgresConnection::open(options());
        if (!connection) FAIL(connection.error().message);
        auto rows = (*connection)->run(statement);
        if (!rows) FAIL(statement << ": " << rows.error().message);
        return rows->size() == 0 ? "" : PostgresReader(*rows, 0).text();
    }
    std::unique_ptr<PostgresServer> server;
};

template <class T>
T must(Result<T> result) {
    if (!result) FAIL(result.error().message);
    return std::move(*result);
}

inline std::map<Key, SinkRecord> walked(Sink& sink, const SinkPosition& expected) {
    auto walk = must(sink.walk());
    CHECK(walk->position() == expected);
    std::map<Key, SinkRecord> all;
    std::optional<Key> last;
    while (true) {
        auto some = must(walk->next(7));
        if (some.empty()) return all;
        for (auto& record : some) {
            Key key{record.memory.scope.project, record.memory.id};
            CHECK((!last || *last < key));
            last = key;
            all.emplace(std::move(key), std::move(record));
        }
    }
}

inline void check_same(const std::map<Key, SinkRecord>& is, const std::map<Key, SinkRecord>& should_be) {
    REQUIRE(is.size() == should_be.size());
    for (const auto& [key, record] : should_be) {
        const auto found = is.find(key);
        REQUIRE(found != is.end());
        REQUIRE(canonical_text(found->second) == canonical_text(record));
    }
}

inline void check_clean(const Error& error) {
    for (const auto* secret : {"hunter2", "swordfish", "nobody", "/tmp", "/dev/shm", "password="}) {
        CHECK(error.message.find(secret) == std::string::npos);
        for (const auto& [key, value] : error.details) CHECK(value.find(secret) == std::string::npos);
    }
}

inline std::string proxied(const CuttingProxy& proxy) {
    return "host=" + proxy.folder().string() + " port=5432 dbname=postgres user=postgres";
}

}  // namespace annal::testing
