#include "support/random_events.h"
#include "support/seed.h"

#include <annal/ids.h>

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <unordered_set>

using namespace annal;

TEST_CASE("an id is spelled 8-4-4-4-12 in lower case and parsed back", "[ids]") {
    const std::string text = "01970e2c-7b1e-7c3a-9f00-0123456789ab";
    const auto id = parse_memory_id(text);
    REQUIRE(id);
    CHECK(id->bytes[0] == 0x01);
    CHECK(id->bytes[15] == 0xab);
    CHECK(to_string(*id) == text);
    CHECK(*parse_memory_id("01970E2C-7B1E-7C3A-9F00-0123456789AB") == *id);
    CHECK(to_string(MemoryId{}) == "00000000-0000-0000-0000-000000000000");

    const auto seed = annal::testing::test_seed();
    INFO("ANNAL_SEED=" << seed);
    annal::testing::RandomEvents random(seed);
    std::unordered_set<MemoryId> seen;
    for (int i = 0; i < 1000; ++i) {
        const auto any = random.id<MemoryId>();
        CHECK(*parse_memory_id(to_string(any)) == any);
        seen.insert(any);
    }
    CHECK(seen.size() == 1000);
}

TEST_CASE("what is not exactly a UUID is refused, and its field named", "[ids]") {
    const std::string good = "01970e2c-7b1e-7c3a-9f00-0123456789ab";
    const auto refused = [](std::string_view text) {
        const auto id = parse_uuid(text, "event_id");
        if (id) return false;
        CHECK(id.error().code == ErrorCode::invalid_argument);
        CHECK(id.error().details.at("field") == "event_id");
        CHECK(id.error().message.find("event_id") != std::string::npos);
        return true;
    };
    CHECK_FALSE(refused(good));
    CHECK(refused(""));
    CHECK(refused("-"));
    CHECK(refused("00000000-0000-0000-0000-000000000000"));
    CHECK(refused("{" + good + "}"));
    CHECK(refused("urn:uuid:" + good));
    CHECK(refused(good + " "));
    CHECK(refused(" " + good));
    CHECK(refused("01970e2c7b1e7c3a9f000123456789ab"));
    CHECK(refused("01970e2c07b1e-7c3a-9f00-0123456789ab"));
    for (std::size_t at = 0; at < good.size(); ++at) {
        INFO("at " << at);
        CHECK(refused(good.substr(0, at)));
        for (const char wrong : {'g', '/', ':', '@', 'G', '`', ' ', '\0', '\xe9'}) {
            auto text = good;
            text[at] = wrong;
            CHECK(refused(text));
        }
        auto text = good;
        text[at] = good[at] == '-' ? '0' : '-';
        CHECK(refused(text));
    }
    CHECK(parse_memory_id("x").error().details.at("field") == "memory_id");
}
