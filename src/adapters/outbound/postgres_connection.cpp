#include "postgres_connection.h"

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <optional>
#include <string_view>
#include <utility>

namespace annal {
namespace {

struct StateCode {
    std::string_view state;  // An SQLSTATE, or the class that it begins with; the first that fits counts.
    ErrorCode code;
    std::string_view words;
};
constexpr StateCode state_codes[] = {
    {"08", ErrorCode::unavailable, "the connection failed"},
    {"0A", ErrorCode::unimplemented, "the server cannot do this"},
    {"22", ErrorCode::invalid_argument, "a column does not take a value; a table was changed by hand"},
    {"23", ErrorCode::data_loss, "a constraint that is not ours, or a row that is not ours, refuses a row"},
    {"25006", ErrorCode::unavailable, "the server is read-only now"},
    {"25P03", ErrorCode::unavailable, "the transaction waited too long"},
    {"28", ErrorCode::unauthenticated, "the server refuses the user or the password"},
    {"3D000", ErrorCode::not_found, "there is no such database"},
    {"3F000", ErrorCode::not_found, "there is no such schema"},
    {"40", ErrorCode::unavailable, "the server asks to try again"},
    {"42501", ErrorCode::permission_denied, "the user may not do this"},
    {"42", ErrorCode::data_loss, "a table, column or index is not as the migrations made it; it was changed by hand"},
    {"53", ErrorCode::resource_exhausted, "the server is out of disk, memory or connections"},
    {"54", ErrorCode::invalid_argument, "a value is too large for the server"},
    {"55", ErrorCode::unavailable, "what it needs is in use"},
    {"57014", ErrorCode::deadline_exceeded, "the server did not finish in time"},
    {"57", ErrorCode::unavailable, "the server is stopping or starting"},
    {"58", ErrorCode::unavailable, "the server's system failed"},
    {"XX001", ErrorCode::data_loss, "the server's files are damaged"},
    {"XX002", ErrorCode::data_loss, "an index of the server is damaged"},
};

// The one place where what PostgreSQL says is translated.
Error to_error(std::string_view state) {
    Error error{ErrorCode::internal, "the server refuses a statement of ours", {}};
    for (const auto& row : state_codes) {
        if (!state.starts_with(row.state)) continue;
        error = {row.code, std::string(row.words), {}};
        break;
    }
    error.message = "PostgreSQL: " + error.message + " (SQLSTATE " + std::string(state) + ")";
    error.details["sqlstate"] = state;
    if (state.starts_with("22") || state.starts_with("23") || state.starts_with("54"))
        error.details["refused"] = "true";
    return error;
}

Error to_error(const PGresult* result) {
    const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return to_error(state ? std::string_view(state) : "08006");
}

// libpq gives no SQLSTATE for a connection that fails, other than at the end of a message that has nothing else.
std::string connect_state(const PGconn* connection) {
    std::string_view message = PQerrorMessage(connection);
    while (!message.empty() && std::isspace(static_cast<unsigned char>(message.back()))) message.remove_suffix(1);
    if (message.size() < 7) return {};
    const auto state = message.substr(message.size() - 5);
    const auto is_state = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'); };
    if (!std::all_of(state.begin(), state.end(), is_state) || message[message.size() - 6] != ' ') return {};
    return std::string(state);
}

bool is_name(std::string_view name, std::size_t size_max) {
    return name.size() <= size_max && std::all_of(name.begin(), name.end(), [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
           });
}

// A notice may quote data.
void no_notice(void*, const PGresult*) {}

}  // namespace

Status check(const PostgresOptions& options) {
    const auto refuse = [](const char* message) { return Error{ErrorCode::invalid_argument, message, {}}; };
    if (options.schema.empty() || !is_name(options.schema, 63) ||
        (options.schema[0] >= '0' && options.schema[0] <= '9'))
        return refuse("PostgreSQL: the schema's name is not [a-z_][a-z0-9_]* of at most 63 characters");
    if (!is_name(options.prefix, 16) ||
        (!options.prefix.empty() && options.prefix[0] >= '0' && options.prefix[0] <= '9'))
        return refuse("PostgreSQL: the prefix is not [a-z_][a-z0-9_]* of at most 16 characters");
    PQconninfoOption* parsed = PQconninfoParse(options.connection.c_str(), nullptr);
    if (parsed == nullptr) return refuse("PostgreSQL: the connection string cannot be read");
    PQconninfoFree(parsed);
    return Done{};
}

void PostgresConnection::Close::operator()(pg_conn* connection) const {
    PQfinish(connection);
}
PostgresConnection::~PostgresConnection() = default;

Result<std::unique_ptr<PostgresConnection>> PostgresConnection::open(const PostgresOptions& options) {
    if (auto checked = check(options); !checked) return checked.error();
    // Later ones count; `dbname` is the whole of what the caller says.
    const char* const keywords[] = {"fallback_application_name", "dbname", "client_encoding", nullptr};
    const char* const values[] = {"annal", options.connection.c_str(), "UTF8", nullptr};
    std::unique_ptr<PostgresConnection> connection(
        new PostgresConnection(options, PQconnectStartParams(keywords, values, 1)));
    connection->deadline_ = std::chrono::steady_clock::now() + options.connect_timeout;
    if (auto connected = connection->finish_connecting(); !connected) return connected.error();
    connection->start_call();
    if (auto ready = connection->set_up(); !ready) return ready.error();
    return connection;
}

Status PostgresConnection::finish_connecting() {
    auto* const connection = connection_.get();
    if (connection == nullptr) return Error{ErrorCode::resource_exhausted, "PostgreSQL: out of memory", {}};
    PQsetErrorVerbosity(connection, PQERRORS_SQLSTATE);  // Nothing but the SQLSTATE is ever kept of an error's text.
    PQsetNoticeReceiver(connection, no_notice, nullptr);
    auto state = PQstatus(connection) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
    while (state != PGRES_POLLING_OK) {
        if (state == PGRES_POLLING_FAILED) {
            if (const auto sql_state = connect_state(connection); !sql_state.empty()) return to_error(sql_state);
            if (PQconnectionNeedsPassword(connection))
                return Error{ErrorCode::unauthenticated, "PostgreSQL: the server asks for a password", {}};
            return Error{ErrorCode::unavailable, "PostgreSQL: the server cannot be reached", {}};
        }
        if (auto waited = wait(state == PGRES_POLLING_WRITING); !waited) return waited.error();
        state = PQconnectPoll(connection);
    }
    if (PQsetnonblocking(connection, 1) != 0) return lost();
    return Done{};
}

Status PostgresConnection::set_up() {
    const auto timeout = std::to_string(options_.call_timeout.count());
    if (auto set =
            run_script("SET statement_timeout = " + timeout + "; SET idle_in_transaction_session_timeout = " + timeout);
        !set)
        return set.error();
    return set_search_path();
}

Status PostgresConnection::set_search_path() {
    auto pgvector =
        run("SELECT quote_ident(nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
            "WHERE extname = 'vector'");
    if (!pgvector) return pgvector.error();
    std::string path = '"' + options_.schema + '"';
    if (pgvector->size() > 0) path += ", " + PostgresReader(*pgvector, 0).text();
    return run_script("SET search_path = " + path);
}

bool PostgresConnection::alive() const {
    return connection_ != nullptr && PQstatus(connection_.get()) == CONNECTION_OK;
}
void PostgresConnection::start_call() {
    deadline_ = std::chrono::steady_clock::now() + options_.call_timeout;
}
Error PostgresConnection::lost() {
    connection_.reset();
    return {ErrorCode::unavailable, "PostgreSQL: the connection was lost", {}};
}
Error PostgresConnection::timed_out() {
    connection_.reset();
    return {ErrorCode::deadline_exceeded, "PostgreSQL: the server did not answer in time", {}};
}

Status PostgresConnection::wait(bool for_writing) {
    pollfd socket{PQsocket(connection_.get()), static_cast<short>(POLLIN | (for_writing ? POLLOUT : 0)), 0};
    if (PQstatus(connection_.get()) != CONNECTION_OK && for_writing) socket.events = POLLOUT;
    while (true) {
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(deadline_ - std::chrono::steady_clock::now()).count();
        if (left <= 0) return timed_out();
        const int ready = poll(&socket, 1, static_cast<int>(left));
        if (ready > 0) return Done{};
        if (ready < 0 && errno != EINTR) return lost();
    }
}

// Reads while it writes: else a server that waits for us to read its answers would never read on.
Status PostgresConnection::flush() {
    while (true) {
        const int unsent = PQflush(connection_.get());
        if (unsent < 0) return lost();
        if (unsent == 0) return Done{};
        if (auto ready = wait(true); !ready) return ready.error();
        if (!PQconsumeInput(connection_.get())) return lost();
    }
}

Result<pg_result*> PostgresConnection::next_result() {
    while (PQisBusy(connection_.get())) {
        if (auto ready = wait(false); !ready) return ready.error();
        if (!PQconsumeInput(connection_.get())) return lost();
    }
    return PQgetResult(connection_.get());
}

// The answer to what was sent outside of a pipeline: the last of its results, or the first error.
Result<PostgresRows> PostgresConnection::collect() {
    if (auto sent = flush(); !sent) return sent.error();
    PostgresRows last(nullptr);
    std::optional<Error> failed;
    while (true) {
        auto result = next_result();
        if (!result) return result.error();
        if (*result == nullptr) break;
        PostgresRows rows(*result);
        const auto status = PQresultStatus(*result);
        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
            if (!failed) failed = to_error(*result);
            continue;
        }
        last = std::move(rows);
    }
    if (failed && !alive()) return lost();
    if (failed) return *failed;
    return last;
}

Result<PostgresRows> PostgresConnection::run(const std::string& sql, const PostgresParams& params) {
    if (!alive()) return lost();
    const auto bound = params.bound();
    bytes_sent_ += params.bytes_.size();
    if (!PQsendQueryParams(connection_.get(), sql.c_str(), static_cast<int>(bound.values.size()), nullptr,
                           bound.values.data(), bound.sizes.data(), bound.formats.data(), 1))
        return lost();
    return collect();
}

Status PostgresConnection::run_script(const std::string& sql) {
    if (!alive() || !PQsendQuery(connection_.get(), sql.c_str())) return lost();
    if (auto done = collect(); !done) return done.error();
    return Done{};
}

Status PostgresConnection::prepare(const std::string& name, const std::string& sql) {
    if (!alive() || !PQsendPrepare(connection_.get(), name.c_str(), sql.c_str(), 0, nullptr)) return lost();
    if (auto done = collect(); !done) return done.error();
    return Done{};
}

void PostgresConnection::queue(const std::string& sql, const PostgresParams& params) {
    if (!enter_pipeline()) return;
    const auto bound = params.bound();
    bytes_sent_ += params.bytes_.size();
    if (PQsendQueryParams(connection_.get(), sql.c_str(), static_cast<int>(bound.values.size()), nullptr,
                          bound.values.data(), bound.sizes.data(), bound.formats.data(), 1))
        ++queued_;
    else
        refused_ = true;
}

void PostgresConnection::queue_prepared(const std::string& name, const PostgresParams& params) {
    if (!enter_pipeline()) return;
    const auto bound = params.bound();
    bytes_sent_ += params.bytes_.size();
    if (PQsendQueryPrepared(connection_.get(), name.c_str(), static_cast<int>(bound.values.size()), bound.values.data(),
                            bound.sizes.data(), bound.formats.data(), 1))
        ++queued_;
    else
        refused_ = true;
}

bool PostgresConnection::enter_pipeline() {
    if (!refused_ && (!alive() || !PQenterPipelineMode(connection_.get()))) refused_ = true;
    return !refused_;
}

Result<PostgresRows> PostgresConnection::send() {
    const auto count = std::exchange(queued_, 0);
    if (std::exchange(refused_, false) || !alive() || !PQpipelineSync(connection_.get())) return lost();
    if (auto sent = flush(); !sent) return sent.error();
    PostgresRows last(nullptr);
    std::optional<Error> failed;
    for (std::size_t i = 0; i < count; ++i) {
        while (true) {
            auto result = next_result();
            if (!result) return result.error();
            if (*result == nullptr) break;
            last = PostgresRows(*result);
            const auto status = PQresultStatus(*result);
            if (!failed && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) failed = to_error(*result);
            if (!alive()) return lost();
        }
    }
    auto synced = next_result();
    if (!synced) return synced.error();
    const PostgresRows sync(*synced);
    if (*synced == nullptr || PQresultStatus(*synced) != PGRES_PIPELINE_SYNC || !PQexitPipelineMode(connection_.get()))
        return lost();
    if (failed) return *failed;
    return last;
}

void PostgresConnection::roll_back() {
    if (!alive()) return;
    if (PQpipelineStatus(connection_.get()) != PQ_PIPELINE_OFF) {
        connection_.reset();
        return;
    }
    if (PQtransactionStatus(connection_.get()) == PQTRANS_IDLE) return;
    if (!run_script("ROLLBACK")) connection_.reset();
}

}  // namespace annal
