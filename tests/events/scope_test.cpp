#include <annal/limits.h>
#include <annal/scope.h>

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <string>

using namespace annal;

namespace {

constexpr std::array<std::string Scope::*, 4> members{&Scope::project, &Scope::agent, &Scope::user, &Scope::session};
constexpr std::array<std::string_view, 4> names{"scope.project", "scope.agent", "scope.user", "scope.session"};

}  // namespace

TEST_CASE("a scope needs a project and nothing else", "[scope]") {
    CHECK(validate({"shop", "", "", ""}));
    CHECK(validate({"shop", "qa", "ann@example.org", "s/1:2"}));
    const auto none = validate({"", "qa", "", ""});
    REQUIRE_FALSE(none);
    CHECK(none.error().code == ErrorCode::invalid_argument);
    CHECK(none.error().details.at("field") == "scope.project");
}

TEST_CASE("each field of a scope holds the allowed characters only, and no more than the limit", "[scope]") {
    const std::string allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-/@+ ";
    for (std::size_t field = 0; field < members.size(); ++field) {
        INFO(names[field]);
        const auto validate_with = [&](const std::string& value) {
            Scope scope{"shop", "", "", ""};
            scope.*members[field] = value;
            return validate(scope);
        };
        for (int c = 0; c < 256; ++c) {
            const std::string value = std::string("x") + static_cast<char>(c) + "y";
            const bool expected = allowed.find(static_cast<char>(c)) != std::string::npos;
            CHECK(static_cast<bool>(validate_with(value)) == expected);
        }
        CHECK(validate_with(std::string(limits::name_characters_max, 'x')));
        CHECK(validate_with("..."));
        for (const std::string& value : {std::string(limits::name_characters_max + 1, 'x'), std::string("."),
                                         std::string(".."), std::string("a\0b", 3), std::string("été")}) {
            const auto refused = validate_with(value);
            REQUIRE_FALSE(refused);
            CHECK(refused.error().code == ErrorCode::invalid_argument);
            CHECK(refused.error().details.at("field") == names[field]);
            CHECK(refused.error().details.at("limit") == std::to_string(limits::name_characters_max));
            CHECK(refused.error().message.starts_with(names[field]));
        }
    }
}

TEST_CASE("a scope contains what is as narrow or narrower, in the same project", "[scope]") {
    const Scope project{"shop", "", "", ""};
    const Scope narrow{"shop", "qa", "ann", "s1"};
    CHECK(project.contains(project));
    CHECK(project.contains(narrow));
    CHECK(narrow.contains(narrow));
    CHECK_FALSE(narrow.contains(project));
    CHECK_FALSE(project.contains({"shop2", "", "", ""}));
    CHECK_FALSE(project.contains({"Shop", "", "", ""}));
    CHECK_FALSE(project.contains({"", "", "", ""}));
    for (std::size_t field = 0; field < members.size(); ++field) {
        Scope other = narrow;
        other.*members[field] = "other";
        CHECK_FALSE(narrow.contains(other));
        CHECK_FALSE(other.contains(narrow));
        CHECK(project.contains(other) == (field != 0));
        other.*members[field] = "";
        CHECK_FALSE(narrow.contains(other));
    }
}
