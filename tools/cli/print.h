// Output for people: aligned, shortened to the terminal, and free of control characters, whatever a memory holds.
#pragma once

#include <annal/engine.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace annal::cli {

// Control characters, line ends among them, become spaces: a memory cannot drive the terminal.
std::string clean(std::string_view text);
// At most `columns` characters, the last one an ellipsis when some were left out.
std::string shorten(std::string_view text, std::size_t columns);
// Of stdout; no limit when it is not a terminal.
std::size_t terminal_columns();

// Columns as wide as their widest cell; `right` names those aligned to the right.
std::string table(const std::vector<std::vector<std::string>>& rows, const std::vector<std::size_t>& right = {});

std::string describe(std::string_view done, const Receipt& receipt);
std::string describe(const ErasureReceipt& receipt);
std::string describe(const Memory& memory);                 // All of it.
std::string describe(const std::vector<Memory>& memories);  // Two lines each.
std::string describe(const SearchAnswer& answer, bool explain);
std::string describe(const std::vector<HistoryEntry>& history);  // With what was and what is.
std::string describe(const DiffEntry& entry);
std::string describe(const RecallsAnswer& answer);
std::string describe(const RunAnswer& answer);
std::string describe(const Engine::LogEntry& entry);  // One line.
std::string describe(const EngineStatus& status);
std::string describe(const VerifyReport& report);
std::string describe(const ArchiveStatus& archive);  // A few words.
std::string describe(const ArchiveReport& report);

std::string short_time(Timestamp time);  // "2026-11-20 17:23"
std::string bytes_text(std::uint64_t bytes);
std::string number_text(double value, int decimals);

}  // namespace annal::cli
