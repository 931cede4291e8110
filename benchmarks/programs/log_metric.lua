-- What an MLflow client sends for log_metric, with a step of its own for every request; counts what was answered.
local run
local step = 0
local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(args)
   run = args[1]
   answered, refused = 0, 0
end

function request()
   step = step + 1
   local body = string.format('{"run_uuid": "%s", "run_id": "%s", "key": "loss", "value": %.6f, "timestamp": %d, "step": %d}',
      run, run, 1 / step, 1700000000000 + step, step)
   return wrk.format("POST", "/api/2.0/mlflow/runs/log-metric", {["Content-Type"] = "application/json"}, body)
end

function response(status)
   if status == 200 then answered = answered + 1 else refused = refused + 1 end
end

function done()
   local all, no = 0, 0
   for _, thread in ipairs(threads) do
      all = all + thread:get("answered")
      no = no + thread:get("refused")
   end
   print(string.format("ANSWERED %d REFUSED %d", all, no))
end
