// Any text as a time, an id, a scope and a name: refused with the field's name, or spelled back as the same value.
#include <annal/ids.h>
#include <annal/kind.h>
#include <annal/memory.h>
#include <annal/scope.h>
#include <annal/timestamp.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace {

void expect(bool held) {
    if (!held) std::abort();
}

template <class T>
void expect_refusal(const annal::Result<T>& result) {
    expect(result.error().code == annal::ErrorCode::invalid_argument && result.error().details.contains("field"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace annal;
    const std::string_view text(reinterpret_cast<const char*>(data), size);

    if (const auto time = parse_timestamp(text, "time")) {
        const auto again = parse_timestamp(to_string(*time), "time");
        expect(again && *again == *time);
    } else {
        expect_refusal(time);
    }
    if (const auto id = parse_memory_id(text)) {
        const auto again = parse_memory_id(to_string(*id));
        expect(again && *again == *id && !id->is_nil());
    } else {
        expect_refusal(id);
    }
    Scope scope{"shop", {}, {}, std::string(text)};
    if (const auto ok = validate(scope)) {
        expect(Scope{"shop", {}, {}, {}}.contains(scope));
    } else {
        expect_refusal(ok);
    }
    if (const auto kind = parse_kind(text)) expect(to_string(*kind) == text);
    if (const auto claim = parse_claim(text)) expect(to_string(*claim) == text);
    if (const auto type = parse_source_type(text)) expect(to_string(*type) == text);
    return 0;
}
