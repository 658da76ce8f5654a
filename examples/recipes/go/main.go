package main

import (
	"fmt"
	"log"
	"os"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

func main() {
	nc, err := nats.Connect(os.Getenv("NATS_URL"))
	if err != nil {
		log.Fatal(err)
	}
	job := fmt.Sprintf("tenant.%s.job.%s.", os.Getenv("MILEPOST_TENANT"), os.Getenv("MILEPOST_JOB"))
	tell := func(event string, values ...any) { nc.Publish(job+"progress", fmt.Appendf(nil, event, values...)) }
	var status atomic.Value
	status.Store("completed")
	nc.Subscribe(job+"control", func(request *nats.Msg) {
		status.Store("cancelled")
		request.Respond([]byte(`{"ok":true}`))
	})

	tell(`{"status":"running","name":"Import in Go"}`)
	for rows := 1000; rows <= 5000 && status.Load() == "completed"; rows += 1000 {
		tell(`{"nodeId":1,"nodeName":"DB Input","status":"running","rowCount":%d,"message":"Processing rows..."}`, rows)
		time.Sleep(100 * time.Millisecond) // the work
	}
	tell(`{"nodeId":1,"status":%q}`, status.Load())
	tell(`{"kind":"log","message":"a row had no date"}`)

	end := nats.NewMsg(job + "end.1")
	end.Header.Set("Nats-Expected-Last-Subject-Sequence", "0")
	end.Data = fmt.Appendf(nil, `{"status":%q}`, status.Load())
	if _, err := nc.RequestMsg(end, 5*time.Second); err != nil {
		log.Fatal(err) // not stored
	}
}
