#include "adapters/memory_sink.h"
#include "sink_conformance.h"

#include <nlohmann/json.hpp>

using namespace annal;
using namespace annal::testing;

namespace {

class MemorySide final : public FarSide {
 public:
    explicit MemorySide(SinkCapabilities capabilities = {}) : capabilities_(capabilities) {}

    std::unique_ptr<Sink> open() override { return make_memory_sink(far_, {.capabilities = capabilities_}); }
    bool apply_and_die(const SinkBatch& batch, const std::string& store_id, std::uint64_t chance) override {
        const auto sink = open();
        REQUIRE(sink->take_over(store_id));
        far_->fault = [&](std::string_view, bool done) -> std::optional<Error> {
            if (done != (chance % 2 == 0)) return std::nullopt;
            return Error{ErrorCode::unavailable, "the connection is lost", {}};
        };
        REQUIRE_FALSE(sink->apply(batch));
        far_->fault = nullptr;
        return true;
    }

 private:
    std::shared_ptr<MemoryFarSide> far_ = std::make_shared<MemoryFarSide>();
    SinkCapabilities capabilities_;
};

}  // namespace

TEST_CASE("MemorySink keeps the sink contract", "[adapters][sink]") {
    check_sink_contract([] { return std::make_unique<MemorySide>(); });
}

TEST_CASE("a sink that keeps no vectors keeps the rest of the contract", "[adapters][sink]") {
    check_sink_contract([] { return std::make_unique<MemorySide>(SinkCapabilities{.keeps_vectors = false}); });
}

TEST_CASE("a line of a record is read back to the bit, and is what an import takes", "[adapters][sink]") {
    for (const auto& record : hard_sink_records()) {
        const auto json = parse_json(to_line(record), "the line");
        REQUIRE(json);
        const auto read = sink_record_from_json(*json);
        REQUIRE(read);
        CHECK(canonical_text(*read) == canonical_text(record));
        const auto request = record_request_from_json(*json, {});
        REQUIRE(request);
        CHECK(request->content == record.memory.content);
        CHECK(request->embedding == record.embedding);
    }
    CHECK_FALSE(sink_record_from_json(*parse_json(R"({"content":"alone"})", "the line")));
}

TEST_CASE("canonical text is blind to spelling alone", "[adapters][sink]") {
    auto a = sink_record(1, "tea", Seq{1}), b = a;
    a.memory.metadata = R"({"x":1.0,"y":[2]})";
    b.memory.metadata = R"({"y":[2],"x":1})";
    CHECK(canonical_text(a) == canonical_text(b));
    b.memory.metadata = R"({"y":[2],"x":1.5})";
    CHECK(canonical_text(a) != canonical_text(b));
    b = a;
    a.embedding = Embedding{"m", {0.0F}};
    b.embedding = Embedding{"m", {-0.0F}};
    CHECK(canonical_text(a) != canonical_text(b));
}
