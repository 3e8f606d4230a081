// Numbers in the files that are ours alone.
#pragma once

#include <cstddef>
#include <cstdint>

namespace annal {

template <class T>
void put_little_endian(char* to, T value) {
    for (std::size_t i = 0; i < sizeof value; ++i) to[i] = static_cast<char>(value >> (8 * i));
}

template <class T>
T take_little_endian(const char* from) {
    T value = 0;
    for (std::size_t i = sizeof value; i-- > 0;)
        value = static_cast<T>((value << 8) | static_cast<std::uint8_t>(from[i]));
    return value;
}

}  // namespace annal
