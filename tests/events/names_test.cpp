#include <annal/kind.h>
#include <annal/memory.h>
#include <annal/result.h>

#include <catch2/catch_test_macros.hpp>

#include <set>
#include <string>

using namespace annal;

TEST_CASE("every kind has its names, and is found by them", "[names]") {
    std::set<std::string_view> tables;
    for (std::size_t number = 0; number < kind_count; ++number) {
        const auto kind = static_cast<Kind>(number);
        CHECK(kind_table[number].kind == kind);
        CHECK(parse_kind(to_string(kind)) == kind);
        CHECK(kind_of(empty_fields(kind)) == kind);
        tables.insert(kind_table[number].table);
    }
    CHECK(tables.size() == kind_count);
    for (const auto* name : {"", "notes", "Note", "note ", "event"}) CHECK_FALSE(parse_kind(name));
}

TEST_CASE("every claim and source type is found by its name", "[names]") {
    for (std::size_t number = 0; number < claim_names.size(); ++number)
        CHECK(parse_claim(claim_names[number]) == static_cast<Claim>(number));
    for (const auto* name : {"", "Verified", "fact"}) CHECK_FALSE(parse_claim(name));
    for (std::size_t number = 0; number < source_type_names.size(); ++number)
        CHECK(parse_source_type(source_type_names[number]) == static_cast<SourceType>(number));
    for (const auto* name : {"", "URL", "tool call"}) CHECK_FALSE(parse_source_type(name));
    CHECK(Claim::observation < Claim::inference);
    CHECK(Claim::inference < Claim::verified);
    CHECK(Claim::verified < Claim::directive);
}

TEST_CASE("error codes are spelled as on the wire", "[names]") {
    CHECK(to_string(ErrorCode::invalid_argument) == "invalid_argument");
    CHECK(to_string(ErrorCode::not_found) == "not_found");
    CHECK(to_string(ErrorCode::conflict) == "conflict");
    CHECK(to_string(ErrorCode::already_exists) == "already_exists");
    CHECK(to_string(ErrorCode::unauthenticated) == "unauthenticated");
    CHECK(to_string(ErrorCode::permission_denied) == "permission_denied");
    CHECK(to_string(ErrorCode::resource_exhausted) == "resource_exhausted");
    CHECK(to_string(ErrorCode::unavailable) == "unavailable");
    CHECK(to_string(ErrorCode::deadline_exceeded) == "deadline_exceeded");
    CHECK(to_string(ErrorCode::data_loss) == "data_loss");
    CHECK(to_string(ErrorCode::unimplemented) == "unimplemented");
    CHECK(to_string(ErrorCode::internal) == "internal");
}

TEST_CASE("a result is a value or an error", "[names]") {
    Result<std::string> value = std::string("x");
    REQUIRE(value);
    CHECK(*value == "x");
    CHECK(value->size() == 1);
    const std::string moved = *std::move(value);
    CHECK(moved == "x");
    const Result<std::string> error = Error{ErrorCode::not_found, "no such memory", {{"memory_id", "7"}}};
    REQUIRE_FALSE(error);
    CHECK(error.error().code == ErrorCode::not_found);
    CHECK(error.error().details.at("memory_id") == "7");
}
