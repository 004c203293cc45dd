package picture

import (
	"bytes"
	"encoding/binary"
)

// orientation reads how a picture lies from its EXIF block, a TIFF file with or without "Exif" before it: the tag
// 0x0112 of the first directory. Whatever cannot be read is upright.
func orientation(exif []byte) int {
	exif = bytes.TrimPrefix(exif, []byte("Exif\x00\x00"))
	if len(exif) < 8 {
		return 1
	}
	var order binary.ByteOrder
	switch string(exif[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 1
	}
	at := int64(order.Uint32(exif[4:]))
	if at+2 > int64(len(exif)) {
		return 1
	}
	entries := exif[at+2:]
	for range order.Uint16(exif[at:]) {
		if len(entries) < 12 {
			break
		}
		const tag, short, long = 0x0112, 3, 4
		if order.Uint16(entries) == tag {
			v := uint32(order.Uint16(entries[8:]))
			switch order.Uint16(entries[2:]) {
			case long:
				v = order.Uint32(entries[8:])
			case short:
			default:
				return 1
			}
			if v >= 1 && v <= 8 {
				return int(v)
			}
			return 1
		}
		entries = entries[12:]
	}
	return 1
}
