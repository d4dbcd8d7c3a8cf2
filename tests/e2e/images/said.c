#include <stdio.h>

int main(void) {
    puts("said by musl");
    return 0;
}
