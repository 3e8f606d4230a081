#include "row_digest.h"

#include "events/hex.h"
#include "memory_keys.h"

#include <openssl/evp.h>

#include <array>
#include <memory>

namespace annal {
namespace {

struct DigestFree {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

}  // namespace

Result<std::string> digest_of_rows(ViewIterator& rows) {
    const std::unique_ptr<EVP_MD_CTX, DigestFree> context(EVP_MD_CTX_new());
    bool ok = context && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1;
    const auto add = [&](std::string_view bytes) {
        std::string size;
        memory_keys::append_u64(size, bytes.size());
        ok = ok && EVP_DigestUpdate(context.get(), size.data(), size.size()) == 1 &&
             EVP_DigestUpdate(context.get(), bytes.data(), bytes.size()) == 1;
    };
    for (rows.seek("\x01"); rows.valid(); rows.next()) {
        add(rows.key());
        add(rows.value());
    }
    if (const auto status = rows.status(); !status) return status.error();
    std::array<unsigned char, 32> hash{};
    ok = ok && EVP_DigestFinal_ex(context.get(), hash.data(), nullptr) == 1;
    if (!ok) return Error{ErrorCode::internal, "SHA-256 is not to be had from the crypto library", {}};
    return to_hex(hash);
}

}  // namespace annal
