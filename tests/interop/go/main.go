// Command privity-log-interop lets software we did not write read our logs, endorsements and
// cosignatures, write a log for us to read, and ask our witness.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	log.SetFlags(0)
	args := os.Args[1:]
	ctx, done := context.WithTimeout(context.Background(), 50*time.Second)
	defer done()
	switch {
	case len(args) == 4 && args[0] == "fsck":
		check(ctx, args[1], args[2], args[3])
	case len(args) == 4 && args[0] == "consistency":
		consistency(ctx, args[1], number(args[2]), number(args[3]))
	case len(args) == 4 && args[0] == "endorsement":
		endorsement(args[1], args[2], args[3])
	case len(args) == 2 && args[0] == "cosign":
		cosign(args[1])
	case len(args) == 6 && args[0] == "write":
		write(ctx, args[1], args[2], args[3], args[4], number(args[5]))
	default:
		log.Fatal("usage: fsck | consistency | endorsement | cosign | write")
	}
}

// check verifies a whole log over HTTP, every tile and entry bundle, with Tessera's fsck.
func check(ctx context.Context, root, origin, vkey string) {
	verifier := must(note.NewVerifier(vkey))
	fetcher := must(client.NewHTTPFetcher(must(url.Parse(root+"/")), http.DefaultClient))
	checkpoint, _, _, err := client.FetchCheckpoint(ctx, fetcher.ReadCheckpoint, verifier, origin)
	if err != nil {
		log.Fatal(err)
	}
	hasher := func(data []byte) ([][]byte, error) {
		bundle := api.EntryBundle{}
		if err := bundle.UnmarshalText(data); err != nil {
			return nil, err
		}
		hashes := [][]byte{}
		for _, entry := range bundle.Entries {
			hash := tlog.RecordHash(entry)
			hashes = append(hashes, hash[:])
		}
		return hashes, nil
	}
	examined := fsck.New(origin, verifier, fetcher, hasher, fsck.Opts{N: 4})
	if err := examined.Check(ctx); err != nil {
		log.Fatal(err)
	}
	writeJSON(map[string]any{"size": checkpoint.Size, "root": checkpoint.Hash})
}

// consistency makes a proof from a log's tiles with Tessera's client, and checks it with x/mod.
func consistency(ctx context.Context, root string, old, size int64) {
	fetcher := must(client.NewHTTPFetcher(must(url.Parse(root+"/")), http.DefaultClient))
	builder := must(client.NewProofBuilder(ctx, uint64(size), fetcher.ReadTile))
	writeJSON(must(builder.ConsistencyProof(ctx, uint64(old), uint64(size))))
}

type endorsed struct {
	Checkpoint string   `json:"checkpoint"`
	Index      int64    `json:"index"`
	Proof      []string `json:"proof"`
	Old        int64    `json:"old"`
	OldRoot    string   `json:"old_root"`
	Growth     []string `json:"growth"`
}

// endorsement verifies one of our endorsements, and a consistency proof, with x/mod alone.
func endorsement(vkey, witness, entry string) {
	given := endorsed{}
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		log.Fatal(err)
	}
	known := note.VerifierList(must(note.NewVerifier(vkey)), must(fnote.NewVerifierForCosignatureV1(witness)))
	opened := must(note.Open([]byte(given.Checkpoint), known))
	tree := must(tlog.ParseTree([]byte("go.sum database tree\n" + afterLine(opened.Text))))
	if err := tlog.CheckRecord(hashes(given.Proof), tree.N, tree.Hash, given.Index, tlog.RecordHash([]byte(entry))); err != nil {
		log.Fatal(err)
	}
	if err := tlog.CheckTree(hashes(given.Growth), tree.N, tree.Hash, given.Old, hashes([]string{given.OldRoot})[0]); err != nil {
		log.Fatal(err)
	}
	times := []int64{}
	for _, line := range opened.Sigs {
		if moment, err := fnote.CoSigV1Timestamp(line); err == nil && line.Name != nameOf(vkey) {
			times = append(times, moment.Unix())
		}
	}
	writeJSON(map[string]any{"size": tree.N, "signatures": len(opened.Sigs), "unknown": len(opened.UnverifiedSigs), "times": times})
}

// cosign adds a witness's line to the checkpoint on standard input.
func cosign(skey string) {
	signer := must(fnote.NewSignerForCosignatureV1(skey))
	verifier := signer.Verifier()
	unsigned := must(io.ReadAll(os.Stdin))
	text := textOf(unsigned)
	signed := must(note.Sign(&note.Note{Text: text}, signer))
	must(note.Open(signed, note.VerifierList(verifier)))
	os.Stdout.Write(unsigned)
	os.Stdout.Write(signed[len(text)+1:])
}

// write makes a log of n entries with Tessera, each checkpoint cosigned by the witness.
func write(ctx context.Context, folder, skey, witness, witnessURL string, n int64) {
	driver := must(posix.New(ctx, posix.Config{Path: folder}))
	one := must(tessera.NewWitness(witness, must(url.Parse(witnessURL))))
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(must(note.NewSigner(skey))).
		WithBatching(64, 20*time.Millisecond).
		WithCheckpointInterval(100*time.Millisecond).
		WithWitnesses(tessera.NewWitnessGroup(1, one), &tessera.WitnessOptions{Timeout: 5 * time.Second})
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		log.Fatal(err)
	}
	await := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 50*time.Millisecond)
	for round := range int64(3) { // some checkpoints on the way, each consistent with the last
		futures := []tessera.IndexFuture{}
		for at := round * n / 3; at < (round+1)*n/3; at++ {
			entry := fmt.Sprintf(`{"entry":%d}`, at)
			futures = append(futures, appender.Add(ctx, tessera.NewEntry([]byte(entry))))
		}
		for _, future := range futures {
			if _, _, err := await.Await(ctx, future); err != nil {
				log.Fatal(err)
			}
		}
	}
	if err := shutdown(ctx); err != nil {
		log.Fatal(err)
	}
}

func hashes(texts []string) []tlog.Hash {
	all := []tlog.Hash{}
	for _, text := range texts {
		hash := tlog.Hash{}
		copy(hash[:], must(base64.RawURLEncoding.DecodeString(text)))
		all = append(all, hash)
	}
	return all
}

func textOf(data []byte) string {
	for at := len(data) - 2; at >= 0; at-- {
		if data[at] == '\n' && data[at+1] == '\n' {
			return string(data[:at+1])
		}
	}
	log.Fatal("not a note")
	return ""
}

func afterLine(text string) string {
	for at, char := range text {
		if char == '\n' {
			return text[at+1:]
		}
	}
	return ""
}

func nameOf(vkey string) string {
	return must(note.NewVerifier(vkey)).Name()
}

func number(text string) int64 {
	return must(strconv.ParseInt(text, 10, 64))
}

func writeJSON(value any) {
	if err := json.NewEncoder(os.Stdout).Encode(value); err != nil {
		log.Fatal(err)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
