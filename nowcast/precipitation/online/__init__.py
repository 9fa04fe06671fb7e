"""The HKO-7 online setting: frames arrive in order, and a forecaster may learn from them."""
