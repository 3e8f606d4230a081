// The server's side of TLS for tests: a certificate for "localhost" that signs itself, made anew each time.
#pragma once

#include "temp_dir.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>

namespace annal::testing {

class TestTls {
 public:
    TestTls() {
        const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
        const std::unique_ptr<X509, decltype(&X509_free)> certificate(X509_new(), X509_free);
        context_ = SSL_CTX_new(TLS_server_method());
        if (!key || !certificate || !context_) throw std::runtime_error("a test cannot make a TLS server");
        X509* x = certificate.get();
        X509_set_version(x, 2);
        ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
        X509_gmtime_adj(X509_getm_notBefore(x), -3600);
        X509_gmtime_adj(X509_getm_notAfter(x), 86'400);
        X509_set_pubkey(x, key.get());
        auto* name = X509_get_subject_name(x);
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("a test"), -1, -1,
                                   0);
        X509_set_issuer_name(x, name);
        add_extension(x, NID_basic_constraints, "critical,CA:TRUE");
        add_extension(x, NID_subject_alt_name, "DNS:localhost");
        if (X509_sign(x, key.get(), EVP_sha256()) == 0 || SSL_CTX_use_certificate(context_, x) != 1 ||
            SSL_CTX_use_PrivateKey(context_, key.get()) != 1)
            throw std::runtime_error("a test cannot make a certificate");
        ca_file_ = (directory_.path() / "ca.pem").string();
        std::FILE* const file = std::fopen(ca_file_.c_str(), "w");
        const bool written = file != nullptr && PEM_write_X509(file, x) == 1;
        if (file == nullptr || std::fclose(file) != 0 || !written)
            throw std::runtime_error("a test cannot write its certificate");
    }
    ~TestTls() { SSL_CTX_free(context_); }
    TestTls(const TestTls&) = delete;
    TestTls& operator=(const TestTls&) = delete;

    const std::string& ca_file() const { return ca_file_; }

    // Null: the client left. The caller frees it.
    SSL* accept(int socket) const {
        SSL* ssl = SSL_new(context_);
        SSL_set_fd(ssl, socket);
        if (SSL_accept(ssl) == 1) return ssl;
        SSL_free(ssl);
        return nullptr;
    }

 private:
    static void add_extension(X509* certificate, int nid, const char* value) {
        const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> extension(
            X509V3_EXT_conf_nid(nullptr, nullptr, nid, value), X509_EXTENSION_free);
        if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1)
            throw std::runtime_error("a test cannot describe its certificate");
    }

    TempDir directory_{};
    SSL_CTX* context_ = nullptr;
    std::string ca_file_;
};

}  // namespace annal::testing
