// What counts as the same value when an erased or rejected one comes back: its text, apart from how it is typed.
#pragma once

#include <string>
#include <string_view>

namespace annal {

// Unicode NFKC with case folded (NFKC_Casefold: full width and half width, ligatures and accents in either form, upper
// and lower case are one; what is invisible is left out), each run of white space one space, none at the ends. UTF-8
// out of any bytes; those that are not UTF-8 become U+FFFD. Doing it twice changes nothing. Only characters that ICU
// does not know yet may come out otherwise with a later version of it.
std::string normalised_value(std::string_view content);

}  // namespace annal
