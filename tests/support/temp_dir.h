// A fresh directory, removed with all it holds at the end of its scope.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace annal::testing {

class TempDir {
 public:
    // memory: for files that no kernel or disk is to lose, where there is room for them: quicker.
    enum class On { disk, memory };

    explicit TempDir(On on = On::disk) {
        std::string path = (place(on) / "annal-test-XXXXXX").string();
        if (mkdtemp(path.data()) == nullptr) throw std::runtime_error("cannot make a directory for the test");
        path_ = path;
    }
    ~TempDir() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;

    const std::filesystem::path& path() const { return path_; }

 private:
    static std::filesystem::path place(On on) {
        const std::filesystem::path memory = "/dev/shm";
        std::error_code none;
        if (on == On::memory && std::filesystem::space(memory, none).available > std::uintmax_t{1} << 30 && !none)
            return memory;
        return std::filesystem::temp_directory_path();
    }
    std::filesystem::path path_;
};

}  // namespace annal::testing
