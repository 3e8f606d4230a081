// Lines of a stream, without ever holding more than the limit of one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <istream>
#include <string>
#include <string_view>

namespace annal {

inline constexpr std::size_t import_line_bytes_max = std::size_t{4} << 20;

class LineReader {
 public:
    explicit LineReader(std::istream& in) : in_(in), buffer_(read_bytes, '\0') {}

    // False at the end. `too_long`: the line was over the limit and was skipped.
    bool next(std::string& line, bool& too_long) {
        line.clear();
        too_long = false;
        bool any = false;
        for (;;) {
            if (at_ == end_ && !fill()) return any;
            any = true;
            const std::string_view rest(buffer_.data() + at_, end_ - at_);
            const std::size_t stop = rest.find('\n');
            const std::string_view part = rest.substr(0, stop);
            if (line.size() + part.size() > import_line_bytes_max)
                too_long = true;
            else
                line += part;
            at_ += part.size();
            if (stop == std::string_view::npos) continue;
            ++at_;
            return true;
        }
    }
    std::uint64_t bytes() const { return bytes_; }  // Read so far.

 private:
    static constexpr std::size_t read_bytes = std::size_t{64} << 10;

    bool fill() {
        in_.read(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
        at_ = 0;
        end_ = static_cast<std::size_t>(in_.gcount());
        bytes_ += end_;
        return end_ != 0;
    }

    std::istream& in_;
    std::string buffer_;
    std::size_t at_ = 0;
    std::size_t end_ = 0;
    std::uint64_t bytes_ = 0;
};

}  // namespace annal
