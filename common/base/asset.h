/*
 * asset.h: a file of the source tree, embedded at build time: ASSET(demo_yaml, "deploy/demo.yaml")
 * defines `static struct slice demo_yaml(void)`. Paths are from the project's root. The Makefile
 * rebuilds a file when an asset it names changes (see ASSETS there). Floor 0.
 */
#ifndef OTPQ_BASE_ASSET_H
#define OTPQ_BASE_ASSET_H

#include "common/base/slice.h"

#define ASSET(name, path)                                                                          \
    __asm__(".pushsection .rodata\n"                                                               \
            ".global asset_" #name "_begin\n.global asset_" #name "_end\n"                         \
            "asset_" #name "_begin:\n.incbin \"" path "\"\n"                                       \
            "asset_" #name "_end:\n.byte 0\n.popsection\n");                                       \
    extern const char asset_##name##_begin[];                                                      \
    extern const char asset_##name##_end[];                                                        \
    static struct slice name(void)                                                                 \
    {                                                                                              \
        return slice_make(asset_##name##_begin,                                                    \
                          (size_t)(asset_##name##_end - asset_##name##_begin));                    \
    }                                                                                              \
    struct slice name##_asset_needs_a_semicolon(void)

#endif
