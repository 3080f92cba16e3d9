/* A line of output, for programs of 64 and of 32 bits. */
#define NEEDED __attribute__((used))
#define LINE 160

/* Makes `WHAT: VALUE` with its end in `line`; returns its length. */
static int make_line(char line[LINE], const char *what, long value)
{
	char digits[24];
	unsigned long rest = value < 0 ? -(unsigned long)value : (unsigned long)value;
	int length = 0, count = 0;

	while (*what && length < LINE - 40)
		line[length++] = *what++;
	line[length++] = ':';
	line[length++] = ' ';
	if (value < 0)
		line[length++] = '-';
	do
		digits[count++] = (char)('0' + rest % 10);
	while (rest /= 10);
	while (count)
		line[length++] = digits[--count];
	line[length++] = '\n';
	return length;
}
