/* Names the class of images of the network's size: PGM (P5) for one channel, PPM (P6) for three.

       bnn-export RUN --format c --output m.h
       cc -O2 -I. examples/predict_pgm.c -o predict -lm
       ./predict image.pgm ...

   Other files become such by ImageMagick: magick photo.jpg -resize 32x32^ -gravity center -extent 32x32 image.ppm
   (bnn-predict resizes as training does; another program gives other pixels, and now and then another class). */
#include "m.h"
#include <ctype.h>
#include <stdio.h>

/* The next number of the file's header, behind spaces and comments; -1 where there is none. */
static int number(FILE *file)
{
    int c = getc(file), value = 0;
    while (c == '#' || isspace(c)) {
        if (c == '#')
            while (c != '\n' && c != EOF)
                c = getc(file);
        c = getc(file);
    }
    if (!isdigit(c))
        return -1;
    for (; isdigit(c) && value < 100000; c = getc(file))
        value = 10 * value + (c - '0');
    return isspace(c) ? value : -1; /* one space ends it */
}

/* What is wrong with the file, or NULL. Its colours lie side by side; the network takes one after the other. */
static const char *read_pixels(FILE *file, uint8_t *pixels)
{
    static uint8_t row[M_WIDTH * M_CHANNELS];
    size_t y, x, c;
    if (getc(file) != 'P' || getc(file) != (M_CHANNELS == 1 ? '5' : '6'))
        return M_CHANNELS == 1 ? "is no PGM file (P5)" : "is no PPM file (P6)";
    if (number(file) != M_WIDTH || number(file) != M_HEIGHT)
        return "has another size than the network's images";
    if (number(file) != 255)
        return "has no numbers from 0 to 255";
    for (y = 0; y < M_HEIGHT; y++) {
        if (fread(row, 1, sizeof row, file) != sizeof row)
            return "is cut short";
        for (x = 0; x < M_WIDTH; x++)
            for (c = 0; c < M_CHANNELS; c++)
                pixels[(c * M_HEIGHT + y) * M_WIDTH + x] = row[x * M_CHANNELS + c];
    }
    return NULL;
}

int main(int count, char **names)
{
    static uint8_t pixels[M_CHANNELS * M_HEIGHT * M_WIDTH];
    static float scores[M_CLASSES];
    int i, wrong = 0;
    for (i = 1; i < count; i++) {
        FILE *file = fopen(names[i], "rb");
        const char *why = file ? read_pixels(file, pixels) : "cannot be opened";
        if (file)
            fclose(file);
        if (why) {
            fprintf(stderr, "%s %s\n", names[i], why);
            wrong = 1;
        } else {
            const int best = m_predict(pixels);
            m_scores(pixels, scores);
            printf("%s: %s (score %g)\n", names[i], m_class(best), (double)scores[best]);
        }
    }
    return wrong;
}
