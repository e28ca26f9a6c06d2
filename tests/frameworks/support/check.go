// In: what must hold. Out: the program ends with what does not.
package main

import (
	"fmt"
	"os"
)

func check(holds bool, what ...interface{}) {
	if !holds {
		fmt.Fprintln(os.Stderr, append([]interface{}{"Error:"}, what...)...)
		os.Exit(1)
	}
}
