# The kernels of src/backend/cpu are compiled once for each instruction set: kernels_<isa>.c includes
# every kernel body. Only those files get the flags of their set; ops_dispatch.c chooses at run time.
set(GRPO_KERNELS src/backend/cpu/kernels_portable.c)
if(GRPO_FUZZ)
  # Parsers are fuzzed, not kernels: instrumenting those takes clang many minutes.
  set_source_files_properties(src/backend/cpu/kernels_portable.c PROPERTIES COMPILE_OPTIONS "-fno-sanitize=all;-O0")
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set_source_files_properties(src/backend/cpu/kernels_avx512.c PROPERTIES COMPILE_OPTIONS
    "-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx2;-mfma;-mprefer-vector-width=512")
  set_source_files_properties(src/backend/cpu/kernels_avx512bf16.c PROPERTIES COMPILE_OPTIONS
    "-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512bf16;-mavx2;-mfma;-mprefer-vector-width=512")
  set_source_files_properties(src/backend/cpu/kernels_amx.c PROPERTIES COMPILE_OPTIONS
    "-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512bf16;-mamx-tile;-mamx-bf16;-mavx2;-mfma;-mprefer-vector-width=512")
  set_source_files_properties(src/backend/cpu/kernels_avx2.c PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma")
  list(APPEND GRPO_KERNELS src/backend/cpu/kernels_amx.c src/backend/cpu/kernels_avx512bf16.c src/backend/cpu/kernels_avx512.c src/backend/cpu/kernels_avx2.c)
  target_compile_definitions(grpo_lib PRIVATE GRPO_HAVE_AVX512 GRPO_HAVE_AVX2)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  list(APPEND GRPO_KERNELS src/backend/cpu/kernels_neon.c)
  target_compile_definitions(grpo_lib PRIVATE GRPO_HAVE_NEON)
endif()
target_sources(grpo_lib PRIVATE ${GRPO_KERNELS})

# Speed of attention and the per-row operations: ninja bench_attention && ./bench_attention
add_executable(bench_attention EXCLUDE_FROM_ALL bench/bench_attention.c)
target_include_directories(bench_attention PRIVATE src)
target_link_libraries(bench_attention PRIVATE grpo_lib)
