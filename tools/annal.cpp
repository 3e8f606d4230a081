// The command line.
#include "cli/app.h"

int main(int argc, char** argv) {
    return annal::cli::run(argc, argv);
}
