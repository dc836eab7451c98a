
"use strict";
var open = document.getElementById("open");
if (open.hasAttribute("data-auto")) {
  location.href = open.href;
}
