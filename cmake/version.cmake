# GRPO_COMMIT for src/cli/version.c: looked up at every build, because a commit makes no file of the source newer. Run as a
# script (-DSOURCE -DOUTPUT) it writes the header where its text changes; a source without .git has the commit "".
if(NOT CMAKE_SCRIPT_MODE_FILE)
  add_custom_target(grpo_commit BYPRODUCTS ${CMAKE_BINARY_DIR}/embedded/grpo_commit.h VERBATIM
                    COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR}
                            -DOUTPUT=${CMAKE_BINARY_DIR}/embedded/grpo_commit.h -P ${CMAKE_CURRENT_LIST_FILE})
  add_dependencies(grpo grpo_commit)
  target_include_directories(grpo PRIVATE ${CMAKE_BINARY_DIR}/embedded)
  set_source_files_properties(src/cli/version.c PROPERTIES COMPILE_DEFINITIONS
    "GRPO_VERSION=\"${PROJECT_VERSION}\";GRPO_BUILD_TYPE=\"${CMAKE_BUILD_TYPE}\"")
  return()
endif()

set(commit "")
if(EXISTS ${SOURCE}/.git)
  execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=*
                  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
set(text "#define GRPO_COMMIT \"${commit}\"\n")
set(old "")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} old)
endif()
if(NOT text STREQUAL old)
  file(WRITE ${OUTPUT} "${text}")
endif()
