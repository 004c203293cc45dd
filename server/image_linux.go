package server

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// forgetImage gives back the pages of the program that starting has touched: two thirds of them are never looked at again.
// They are clean copies of the file on the disk, and come back one by one where they are needed.
func forgetImage() error {
	path, err := os.Executable()
	if err != nil {
		return err
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	defer f.Close()
	var from, to uintptr // of the last mapping of the program that is only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 1 && !strings.HasSuffix(fields[0], ":") { // a mapping begins: addresses, rights, offset, device, inode, path
			if _, err := fmt.Sscanf(fields[0], "%x-%x", &from, &to); err != nil || len(fields) < 6 || fields[5] != path || fields[1] != "r-xp" && fields[1] != "r--p" {
				from, to = 0, 0
			}
			continue
		}
		// A page that the loader has changed is no copy of the file any more.
		if len(fields) == 3 && fields[0] == "Anonymous:" && fields[1] == "0" && from != 0 {
			if _, _, e := syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_DONTNEED); e != 0 {
				return e
			}
		}
	}
	return nil
}
