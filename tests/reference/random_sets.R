# R's answers for every data set of FOLDER/sets.csv, written to FOLDER/answers.txt: "set key number number …".
# Written with survival 3.5-3 and cmprsk 2.2-11. R's own stopping rule is tightened, so that both stand at the maximum.
suppressMessages({library(survival); library(cmprsk)})
folder <- commandArgs(TRUE)[1]
rows <- read.csv(file.path(folder, "sets.csv"))
out <- file(file.path(folder, "answers.txt"), "w")
put <- function(key, value) cat(set, key, format(as.numeric(value), digits = 17), "\n", file = out)
# NULL where R fails, warns or gives NA: such sets are compared by what we refuse
quiet <- function(expression) tryCatch(expression, error = function(e) NULL, warning = function(w) NULL)
control <- coxph.control(eps = 1e-14, toler.chol = 1e-15, iter.max = 100)

for (set in unique(rows$set)) {
  d <- rows[rows$set == set, ]
  x <- as.matrix(d[, c("x1", "x2")])
  event <- as.numeric(d$cause == 1)
  late <- d$entry[1] >= 0
  y <- if (late) Surv(d$entry, d$time, event) else Surv(d$time, event)
  fit <- quiet(if (d$robust[1] == 1) coxph(y ~ x + strata(d$stratum), weights = d$weight, ties = d$ties[1], control = control, cluster = d$cluster)
               else coxph(y ~ x + strata(d$stratum), weights = d$weight, ties = d$ties[1], control = control, robust = FALSE))
  if (!is.null(fit) && !anyNA(fit$coef)) {
    put("coef", fit$coef)
    put("std_error", sqrt(diag(fit$var)))
    put("log_likelihood", fit$loglik)
    put("score_test", fit$score)
    put("martingale", residuals(fit, "martingale"))
    put("concordance", concordance(y ~ I(x %*% fit$coef) + strata(d$stratum), weights = d$weight, reverse = TRUE)$concordance)
  }
  curve <- survfit(y ~ 1)
  put("survival", curve$surv)
  put("survival_se", curve$std.err * curve$surv)
  if (late) next
  test <- quiet(survdiff(Surv(d$time, event) ~ I(d$cluster %% 2) + strata(d$stratum)))
  if (!is.null(test)) put("logrank", test$chisq)
  fit <- quiet(crr(d$time, d$cause, x, gtol = 1e-10, maxiter = 50))
  if (!is.null(fit) && fit$converged) {
    put("crr", fit$coef)
    put("crr_se", sqrt(diag(fit$var)))
  }
  fit <- quiet({
    long <- finegray(Surv(t, status) ~ ., data.frame(t = d$time, status = factor(d$cause), id = seq_len(nrow(d)), x = I(x)), etype = "1")
    coxph(Surv(fgstart, fgstop, fgstatus) ~ x, weights = fgwt, cluster = id, data = long, control = control)
  })
  if (!is.null(fit) && !anyNA(fit$coef)) {
    put("fine_gray", fit$coef)
    put("fine_gray_se", sqrt(diag(fit$var)))
  }
}
close(out)
