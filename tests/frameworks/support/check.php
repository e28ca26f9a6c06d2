<?php
// In: what must hold. Out: the program ends with what does not.
function check(bool $holds, string $what): void
{
    if (!$holds) {
        fwrite(STDERR, "Error: $what\n");
        exit(1);
    }
}
