# Numbered SQL files as a C++ source: annal_sql_migrations(FOLDER OUTPUT FUNCTION). Each NNNN_name.up.sql has its
# .down.sql beside it.
function(annal_sql_migrations folder output function)
    set(rows "")
    file(GLOB ups CONFIGURE_DEPENDS ${folder}/*.up.sql)
    foreach(up ${ups})
        string(REPLACE .up.sql .down.sql down ${up})
        set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${up} ${down})
        if(NOT up MATCHES "/0*([0-9]+)_([a-z_]+)\\.up\\.sql$")
            message(FATAL_ERROR "${up} is not named NNNN_name.up.sql")
        endif()
        set(number ${CMAKE_MATCH_1})
        set(name ${CMAKE_MATCH_2})
        file(READ ${up} up_sql)
        file(READ ${down} down_sql)
        string(APPEND rows "    {${number}, \"${name}\", R\"sql(${up_sql})sql\",\n     R\"sql(${down_sql})sql\"},\n")
    endforeach()
    file(CONFIGURE OUTPUT ${output} @ONLY CONTENT
"#include \"adapters/outbound/sql_migration.h\"

namespace annal {

std::span<const SqlMigration> @function@() {
    static constexpr SqlMigration migrations[] = {
@rows@    };
    return migrations;
}

}  // namespace annal
")
endfunction()
