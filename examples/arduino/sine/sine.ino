/* sine.ino: a network draws a sine in the serial plotter of the Arduino IDE, or in its serial monitor, with 115200 baud.
 *
 * The network is sine.h, written by export_sine.py. Every board has the bits of Python, which the self-test checks. */
#define SINE_IMPLEMENTATION
#include "sine.h"

void setup()
{
    Serial.begin(115200);
#if !defined(SINE_NO_SELFTEST)
    if (sine_selftest() != 0) {
        Serial.println("the self-test fails");
    }
#endif
}

void loop()
{
    static int step = 0;
    const float phase = (float)step / 64.0f;
    float out;
    sine_predict(&phase, &out);
    Serial.println(out, 4);
    step = (step + 1) % 64;
    delay(20);
}
