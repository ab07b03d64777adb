package routing

import (
	"strconv"
	"strings"
)

// suggest is a hint: the candidate closest to what was written, or all of them.
func suggest(written string, candidates []string, all string) string {
	best, distance := "", 3
	for _, c := range candidates {
		near := max(1, len([]rune(c))/3)
		if d := editDistance(strings.ToLower(written), strings.ToLower(c)); d < distance && d <= near {
			best, distance = c, d
		}
	}
	switch {
	case best != "":
		return "did you mean " + strconv.Quote(best) + "?"
	case all != "":
		return "there are " + all
	}
	return ""
}

// editDistance counts the letters to insert, delete, change or swap.
func editDistance(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(x)][len(y)]
}

func quoteRune(r rune) string { return strconv.QuoteRune(r) }
