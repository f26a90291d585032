# embed_text(NAME FILE...): a C file in the build folder with the files, one after the other, as `const char NAME[]` and
# `const size_t NAME_length`; it is added to EMBEDDED_SOURCES. Run as a script (-DNAME -DOUTPUT -DFILES, separated by
# commas) it writes that file.
if(NOT CMAKE_SCRIPT_MODE_FILE)
  function(embed_text name)
    set(output ${CMAKE_BINARY_DIR}/embedded/${name}.c)
    string(REPLACE ";" "," files "${ARGN}")
    add_custom_command(OUTPUT ${output} DEPENDS ${ARGN} ${CMAKE_CURRENT_FUNCTION_LIST_FILE} VERBATIM
                       COMMAND ${CMAKE_COMMAND} -DNAME=${name} -DOUTPUT=${output} -DFILES=${files}
                               -P ${CMAKE_CURRENT_FUNCTION_LIST_FILE})
    set(EMBEDDED_SOURCES ${EMBEDDED_SOURCES} ${output} PARENT_SCOPE)
  endfunction()
  return()
endif()

string(REPLACE "," ";" FILES "${FILES}")
set(bytes "")
foreach(file ${FILES})
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," hex "${hex}")
  string(APPEND bytes "${hex}\n")
endforeach()
file(WRITE ${OUTPUT} "#include <stddef.h>\n\nextern const char ${NAME}[];\nextern const size_t ${NAME}_length;\n"
     "const char ${NAME}[] = {\n${bytes}0};\nconst size_t ${NAME}_length = sizeof ${NAME} - 1;\n")
