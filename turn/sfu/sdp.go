package sfu

import (
	"fmt"
	"slices"
	"strings"
)

// Limits of a session description that a client sends.
const (
	maxSDP      = 256 << 10
	maxSections = 256
)

// section is one m-line of a session description with the lines below it.
type section struct {
	kind  string // audio, video, or something else
	mid   string
	sends bool
	lines []string
}

// parseSDP divides a description into what stands before the first m-line and the sections.
func parseSDP(text string) (head []string, sections []section, err error) {
	if len(text) > maxSDP {
		return nil, nil, fmt.Errorf("%w: %d bytes", ErrSDP, len(text))
	}
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			continue
		}
		if kind, ok := strings.CutPrefix(line, "m="); ok {
			if len(sections) == maxSections {
				return nil, nil, fmt.Errorf("%w: more than %d sections", ErrSDP, maxSections)
			}
			kind, rest, _ := strings.Cut(kind, " ")
			sections = append(sections, section{kind: kind, sends: !strings.HasPrefix(rest, "0 ")})
		}
		if len(sections) == 0 {
			head = append(head, line)
			continue
		}
		s := &sections[len(sections)-1]
		s.lines = append(s.lines, line)
		switch {
		case strings.HasPrefix(line, "a=mid:"):
			s.mid = line[len("a=mid:"):]
		case line == "a=recvonly", line == "a=inactive":
			s.sends = false
		}
	}
	if len(head) == 0 || len(sections) == 0 {
		return nil, nil, fmt.Errorf("%w: it has no media", ErrSDP)
	}
	for _, s := range sections {
		if s.kind != "audio" && s.kind != "video" {
			return nil, nil, fmt.Errorf("%w: a section of kind %.20q", ErrSDP, s.kind)
		}
	}
	return head, sections, nil
}

func joinSDP(head []string, sections []section) string {
	var b strings.Builder
	write := func(lines []string) {
		for _, line := range lines {
			b.WriteString(line)
			b.WriteString("\r\n")
		}
	}
	write(head)
	for _, s := range sections {
		write(s.lines)
	}
	return b.String()
}

func isCandidate(line string) bool {
	return strings.HasPrefix(line, "a=candidate:") || line == "a=end-of-candidates"
}

// inbound is what we take of a client's description: everything but its candidates. A lite agent answers to the address that
// a check came from; so nobody makes us send to an address of their choice.
func inbound(head []string, sections []section) string {
	for i := range sections {
		sections[i].lines = slices.DeleteFunc(sections[i].lines, isCandidate)
	}
	return joinSDP(head, sections)
}

// outbound completes a description of ours: our candidates in the first section that is bundled, and in each what we want of
// who publishes: video no larger than the limit, and with Opus the redundancy and the silence that save a call on a bad line.
func outbound(text string, candidates []string, limits *Limits) (string, error) {
	head, sections, err := parseSDP(text)
	if err != nil {
		return "", fmt.Errorf("our own description: %w", err)
	}
	first := ""
	for _, line := range head {
		if mids, ok := strings.CutPrefix(line, "a=group:BUNDLE "); ok {
			first, _, _ = strings.Cut(mids, " ")
		}
	}
	for i := range sections {
		s := &sections[i]
		s.lines = slices.DeleteFunc(s.lines, isCandidate)
		opus := ""
		// Not of audio: browsers take a limit of Opus for what they should send.
		limited := s.kind == "video" && !slices.Contains(s.lines, "a=sendonly") && !slices.Contains(s.lines, "a=inactive")
		lines := make([]string, 0, len(s.lines)+len(candidates)+2)
		for _, line := range s.lines {
			if pt, ok := strings.CutPrefix(line, "a=rtpmap:"); ok && strings.HasSuffix(strings.ToLower(line), " opus/48000/2") {
				opus, _, _ = strings.Cut(pt, " ")
			}
			if opus != "" && strings.HasPrefix(line, "a=fmtp:"+opus+" ") {
				line = withParameters(line, "useinbandfec=1", "usedtx=1")
			}
			lines = append(lines, line)
			if limited && strings.HasPrefix(line, "c=") {
				lines = append(lines, fmt.Sprintf("b=AS:%d", limits.VideoBitrate/1000), fmt.Sprintf("b=TIAS:%d", limits.VideoBitrate))
			}
		}
		if s.mid == first {
			lines = append(lines, candidates...)
			lines = append(lines, "a=end-of-candidates")
		}
		s.lines = lines
	}
	return joinSDP(head, sections), nil
}

// withParameters adds to an fmtp line what it does not say yet.
func withParameters(line string, parameters ...string) string {
	for _, p := range parameters {
		name, _, _ := strings.Cut(p, "=")
		if !strings.Contains(line, name+"=") {
			line += ";" + p
		}
	}
	return line
}
