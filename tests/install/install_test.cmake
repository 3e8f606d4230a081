# Installs the build tree to a fresh prefix, builds a consumer against it, and runs both the consumer and the installed
# command line. BUILD, SOURCE, WORK, CXX, FLAGS, BUILD_TYPE come from the caller.
function(run)
    execute_process(COMMAND ${ARGV} RESULT_VARIABLE code OUTPUT_VARIABLE out ERROR_VARIABLE out)
    if(NOT code EQUAL 0)
        message(FATAL_ERROR "failed (${code}): ${ARGV}\n${out}")
    endif()
endfunction()

file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK})
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix)
run(${CMAKE_COMMAND} -G Ninja -S ${SOURCE}/tests/install/consumer -B ${WORK}/build -DCMAKE_PREFIX_PATH=${WORK}/prefix
    -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_CXX_FLAGS=${FLAGS} -DCMAKE_BUILD_TYPE=${BUILD_TYPE}
    -DANNAL_EXAMPLE=${SOURCE}/examples/embed.cpp)
run(${CMAKE_COMMAND} --build ${WORK}/build)
run(${WORK}/build/consumer ${WORK}/store)
run(${WORK}/prefix/bin/annal --store ${WORK}/store status)
run(${WORK}/prefix/bin/annal-verify-proof --help)
file(REMOVE_RECURSE ${WORK})
