#include <annal/limits.h>
#include <annal/scope.h>

#include <array>
#include <utility>

namespace annal {
namespace {

bool allowed(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("._:-/@+ ").find(c) != std::string_view::npos;
}

Status check_field(std::string_view field, std::string_view value) {
    const auto refuse = [&](std::string_view rule) {
        return Error{ErrorCode::invalid_argument,
                     std::string(field) + " " + std::string(rule),
                     {{"field", std::string(field)}, {"limit", std::to_string(limits::name_characters_max)}}};
    };
    if (value.size() > limits::name_characters_max)
        return refuse("has " + std::to_string(value.size()) + " characters; the limit is " +
                      std::to_string(limits::name_characters_max));
    for (const char c : value)
        if (!allowed(c)) return refuse("may hold letters, digits, space and . _ : - / @ + only");
    if (value == "." || value == "..") return refuse("may not be '.' or '..'");
    return Done{};
}

}  // namespace

bool Scope::contains(const Scope& inner) const {
    const auto within = [](const std::string& outer_field, const std::string& inner_field) {
        return outer_field.empty() || outer_field == inner_field;
    };
    return project == inner.project && within(agent, inner.agent) && within(user, inner.user) &&
           within(session, inner.session);
}

Status validate(const Scope& scope) {
    if (scope.project.empty())
        return Error{ErrorCode::invalid_argument, "scope.project is required", {{"field", "scope.project"}}};
    const std::array<std::pair<std::string_view, const std::string*>, 4> fields{{{"scope.project", &scope.project},
                                                                                 {"scope.agent", &scope.agent},
                                                                                 {"scope.user", &scope.user},
                                                                                 {"scope.session", &scope.session}}};
    for (const auto& [name, value] : fields)
        if (auto ok = check_field(name, *value); !ok) return ok;
    return Done{};
}

}  // namespace annal
