/* sketch.cpp: what the Arduino IDE makes of a sketch, with an end after one period of the sine. */
#include "Arduino.h"

#include "sine.ino"

extern "C" int main(void)
{
    setup();
    for (int i = 0; i < 64; i++) {
        loop();
    }
    return 0;
}
