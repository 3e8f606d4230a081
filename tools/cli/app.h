#pragma once

namespace annal::cli {

// Parses the arguments, runs the command they name, and returns the process's exit code. Throws nothing.
int run(int argc, char** argv);

}  // namespace annal::cli
