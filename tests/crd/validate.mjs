// Reads objects as JSON, lets the validators that were generated from the projects' own CRDs look at them, prints what they say.
import { readFileSync } from "node:fs";
import * as argo from "@kubernetes-models/argo-rollouts/argoproj.io/v1alpha1/index";
import * as gateway from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/index";
import * as prometheus from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/index";

const kinds = { ...argo, ...gateway, ...prometheus };
const told = JSON.parse(readFileSync(0, "utf8")).map((object) => {
  try {
    new kinds[object.kind](object).validate();
    return "";
  } catch (error) {
    return String(error.message);
  }
});
process.stdout.write(JSON.stringify(told));
