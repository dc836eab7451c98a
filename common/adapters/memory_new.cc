#include "common/adapters/memory.h"

#include <new>

#include "common/base/check.h"

void memory_new_ends_in_order(void)
{
    std::set_new_handler([] { out_of_memory(); });
}
